"""Tables as spreadsheets, scripts and other products write them."""

from __future__ import annotations

import pytest

from projects.formats.columns import Columns
from projects.formats.label_files import BoxesError, LabelFileError
from tests.projects.formats.label_file_factories import entries_of, identified, labels_of, usages_of

CAT_AND_DOG = {"a.jpg": ["cat"], "b.jpg": ["dog"]}


@pytest.mark.parametrize(
    "content",
    [
        "image,label\na.jpg,cat\nb.jpg,dog\n",
        "img_name,target\na.jpg,cat\nb.jpg,dog\n",
        "image_id,label\na.jpg,cat\nb.jpg,dog\n",
        "Image,Id\na.jpg,cat\nb.jpg,dog\n",
        "file,species\na.jpg,cat\nb.jpg,dog\n",
        "id_code,diagnosis\na.jpg,cat\nb.jpg,dog\n",
        "Label , File Name\ncat, a.jpg\ndog, b.jpg\n",
        '\ufeff"IMAGE";"LABELS"\r\n"a.jpg";"cat"\r\n"b.jpg";"dog"\r\n',
        "sep=;\r\nimage;label\r\na.jpg;cat\r\nb.jpg;dog\r\n",
        "image,label\ra.jpg,cat\rb.jpg,dog\r",
        "image|label\na.jpg|cat\nb.jpg|dog\n",
        "INPUT:image\tOUTPUT:result\na.jpg\tcat\nb.jpg\tdog\n",
        "HITId,Input.image_url,Answer.category.label\n1,a.jpg,cat\n2,b.jpg,dog\n",
        "class_id,class,filename,width,height\n0,cat,a.jpg,10,10\n1,dog,b.jpg,10,10\n",
        "image_id,dx,dx_type,age,sex\na.jpg,cat,histo,80.0,male\nb.jpg,dog,histo,80.0,male\n",
        "image,id,animal,annotator,annotation_id,lead_time\na.jpg,1,cat,1,1,2.1\nb.jpg,2,dog,1,2,1.1\n",
        "file,split,kind\na.jpg,train,cat\nb.jpg,val,dog\n",
        "0,a.jpg,TRAIN,cat\n1,b.jpg,TEST,dog\n",
        "图片,标签\na.jpg,cat\nb.jpg,dog\n",
        "a.jpg,cat\nb.jpg,dog\n",
        "\n\nimage,label\n\na.jpg,cat\n,\nb.jpg,dog\n",
        'image,label\na.jpg,"[""cat""]"\nb.jpg,"[\'dog\']"\n',
        'image,choice\na.jpg,"{""choices"":[""cat""]}"\nb.jpg,dog\n',
    ],
)
def test_the_columns_are_found_however_they_are_named(content: str) -> None:
    assert identified("labels.csv", content).is_certain
    assert labels_of("labels.csv", content) == CAT_AND_DOG


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig", "cp1252"])
def test_the_encodings_of_excel_are_read(encoding: str) -> None:
    content = "image\tlabel\r\na.jpg\tCafé\r\nb.jpg\tMüsli\r\n".encode(encoding)
    assert labels_of("labels.csv", content) == {"a.jpg": ["Café"], "b.jpg": ["Müsli"]}


@pytest.mark.parametrize(
    ("encoding", "labels"),
    [
        ("gb18030", ["猫", "狗", "数据"]),
        ("big5", ["貓", "狗", "資料夾"]),
        ("cp932", ["ネコ", "いぬ", "写真"]),
        ("cp949", ["고양이", "개", "사진"]),
        ("cp1251", ["кошка", "собака", "птица"]),
        ("cp1250", ["kočka", "pes", "žirafa", "řeka"]),
        ("cp1250", ["żółw", "łabędź"]),
        ("cp1252", ["chêne", "érable"]),
        ("cp1252", ["naïve", "señal", "Größe"]),
    ],
)
def test_an_encoding_that_is_not_stated_is_guessed_and_said_to_be_a_guess(
    encoding: str, labels: list[str]
) -> None:
    rows = "".join(f"{number}.jpg,{label}\n" for number, label in enumerate(labels))
    found = identified("labels.csv", f"image,label\n{rows}".encode(encoding))
    assert (found.encoding, found.is_encoding_guessed) == (encoding, True)
    assert list(labels_of("labels.csv", f"image,label\n{rows}".encode(encoding)).values()) == [
        [label] for label in labels
    ]


def test_another_encoding_can_be_chosen() -> None:
    content = "image,label\na.jpg,貓\n".encode("big5")
    assert labels_of("labels.csv", content, encoding="gb18030") != {"a.jpg": ["貓"]}
    assert labels_of("labels.csv", content, encoding="big5") == {"a.jpg": ["貓"]}


def test_an_accent_that_comes_late_decides_the_encoding() -> None:
    content = ("image,label\n" + "a.jpg,cat\n" * 40_000 + "b.jpg,Café\n").encode("cp1252")
    assert labels_of("labels.csv", content)["b.jpg"] == ["Café"]


def test_decomposed_letters_are_composed() -> None:
    assert labels_of("labels.csv", "image,label\na.jpg,Cafe\u0301\n") == {"a.jpg": ["Café"]}


# --- several labels ---


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        # Roboflow
        ("filename, cat, dog\na.jpg, 1, 0\nb.jpg, 1, 1\nc.jpg, 0, 0\n", [["cat"], ["cat", "dog"], []]),
        # Kaggle's Plant Pathology and CheXpert: no endings, floats, blanks, unknown as -1
        ("image_id,rust,scab\na,1,0\nb,0,1\nc,1,1\n", [["rust"], ["scab"], ["rust", "scab"]]),
        ("Path,Edema,Fracture\na.jpg,1.0,\nb.jpg,-1.0,1.0\nc.jpg,0.0,\n", [["Edema"], ["Fracture"], []]),
        ("image,labels\na.jpg,cat;dog\nb.jpg,dog\nc.jpg,\n", [["cat", "dog"], ["dog"], []]),
        ("image,label\na.jpg,cat|dog\nb.jpg,dog\nc.jpg,cat\n", [["cat", "dog"], ["dog"], ["cat"]]),
        ('image,tags\na.jpg,"cat, dog"\nb.jpg,dog\nc.jpg,cat\n', [["cat", "dog"], ["dog"], ["cat"]]),
        ("image,label,label\na.jpg,cat,dog\nb.jpg,dog,\nc.jpg,,\n", [["cat", "dog"], ["dog"], []]),
        ("image,label_1,label_2\na.jpg,cat,dog\nb.jpg,dog,\nc.jpg,,\n", [["cat", "dog"], ["dog"], []]),
        (
            'image,labels\na.jpg,"[""cat"", ""dog""]"\nb.jpg,"[\'dog\']"\nc.jpg,[]\n',
            [["cat", "dog"], ["dog"], []],
        ),
        (
            'image,choice\na.jpg,"{""choices"":[""cat"",""dog""]}"\nb.jpg,dog\nc.jpg,cat\n',
            [["cat", "dog"], ["dog"], ["cat"]],
        ),
        # fastai's PASCAL
        (
            "fname,labels,is_valid\na.jpg,chair,True\nb.jpg,car person,False\nc.jpg,person,False\n",
            [["chair"], ["car", "person"], ["person"]],
        ),
    ],
)
def test_several_labels_of_an_image_are_told_apart(content: str, expected: list[list[str]]) -> None:
    assert list(labels_of("labels.csv", content).values()) == expected


def test_words_that_recombine_are_labels_of_their_own() -> None:
    """fastai's Planet: the words of `tags` are separated by spaces."""
    tags = [
        "haze primary",
        "agriculture clear primary water",
        "clear primary",
        "haze water",
        "clear agriculture",
    ]
    rows = "".join(f"train_{number},{words}\n" for number, words in enumerate(tags))
    assert list(labels_of("train.csv", f"image_name,tags\n{rows}").values()) == [
        words.split() for words in tags
    ]


@pytest.mark.parametrize(
    ("head", "labels"),
    [
        ("label", ["Golden retriever", "Labrador retriever", "Golden eagle", "retriever"]),
        ("labels", ["Golden retriever", "Labrador retriever", "poodle"]),
        ("labels", ["Siberian husky", "Great white shark", "white shark"]),
        ("class", ["red car", "blue car", "red bike", "car"]),
        ("label", ["tench, Tinca tinca", "goldfish, Carassius auratus", "shark"]),
    ],
)
def test_a_label_of_several_words_stays_whole(head: str, labels: list[str]) -> None:
    rows = "".join(f'{number}.jpg,"{label}"\n' for number, label in enumerate(labels))
    assert list(labels_of("labels.csv", f"image,{head}\n{rows}").values()) == [[label] for label in labels]


def test_the_separator_can_be_chosen() -> None:
    content = "image,label\na.jpg,haze primary\nb.jpg,primary\n"
    assert labels_of("labels.csv", content)["a.jpg"] == ["haze primary"]
    assert labels_of("labels.csv", content, separator=" ")["a.jpg"] == ["haze", "primary"]


def test_one_class_of_roboflow_is_a_label() -> None:
    content = "filename, cat\na.jpg, 1\nb.jpg, 0\n"
    assert labels_of("train/_classes.csv", content) == {"a.jpg": ["cat"], "b.jpg": []}


def test_names_without_endings_are_images_where_the_column_says_so() -> None:
    """Kaggle's Diabetic Retinopathy: `image,level`."""
    content = "image,level\n" + "".join(f"{number}_left,{number % 2}\n" for number in range(6))
    assert identified("trainLabels.csv", content).is_certain
    assert labels_of("trainLabels.csv", content)["1_left"] == ["1"]


def test_finding_labels_of_an_x_ray_are_told_apart() -> None:
    """The NIH's ChestX-ray14."""
    content = (
        "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,View Position\n"
        "a.png,Cardiomegaly|Emphysema,0,1,058Y,PA\nb.png,No Finding,0,2,081Y,AP\n"
    )
    assert labels_of("Data_Entry.csv", content) == {
        "a.png": ["Cardiomegaly", "Emphysema"],
        "b.png": ["No Finding"],
    }


# --- splits, other columns, what is no table of labels ---


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("TRAIN,gs://b/a.jpg,cat\nTEST,gs://b/b.jpg,dog,big\n", ["TRAIN", "TEST"]),
        ("class index,filepaths,labels,data set\n0,a.jpg,cat,train\n0,b.jpg,dog,valid\n", ["TRAIN", "EVAL"]),
        ("fname,label,is_valid\na.jpg,cat,False\nb.jpg,dog,True\n", ["TRAIN", "EVAL"]),
        ("ml_use,image_path,label\ntraining,a.jpg,cat\nvalidation,b.jpg,dog\n", ["TRAIN", "EVAL"]),
        ("image,label,mode\na.jpg,cat,RGB\nb.jpg,dog,L\n", ["", ""]),
    ],
)
def test_the_split_of_an_image_is_read(content: str, expected: list[str]) -> None:
    assert list(usages_of("labels.csv", content).values()) == expected


def test_a_table_of_images_and_splits_has_no_labels() -> None:
    found = identified("split.csv", "path,set\na.jpg,train\nb.jpg,test\n")
    assert (found.has_labels, found.is_certain, found.columns) == (False, True, Columns(0, (), 1))


@pytest.mark.parametrize(
    "content",
    ["1.png,Ann,CC BY\n2.png,Bo,CC0\n", "path,who\na,b\n", "file_name,text\na.jpg,a cat on a mat\n"],
)
def test_a_table_about_something_else_is_not_certain_or_has_no_labels(content: str) -> None:
    found = identified("credits.csv", content)
    assert not (found.is_certain and found.has_labels)


def test_a_column_can_be_chosen() -> None:
    content = "id,photo,colour,kind\n1,a.jpg,red,cat\n2,b.jpg,blue,dog\n"
    found = identified("labels.csv", content)
    assert found.head == ("id", "photo", "colour", "kind")
    assert found.first_rows[0] == ("1", "a.jpg", "red", "cat")
    assert labels_of("labels.csv", content, columns=Columns(1, (3,))) == CAT_AND_DOG
    with pytest.raises(LabelFileError, match="no such column"):
        entries_of("labels.csv", content, columns=Columns(1, (4,)))


@pytest.mark.parametrize(
    "content",
    [
        "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,9,9,cat,0,0,1,1\n",
        "TRAIN,gs://b/a.jpg,cat,0.1,0.1,,,0.4,0.4,,\nTRAIN,gs://b/b.jpg,cat,0.1,0.1,,,0.4,0.4,,\n",
        "a.jpg,1,2,3,4,cat\nb.jpg,1,2,3,4,dog\n",
        'image_id,width,height,bbox,source\na,10,10,"[1, 2, 3, 4]",x\n',
        "ImageId,EncodedPixels\na.jpg,1 3 10 5\n",
    ],
)
def test_boxes_are_refused_with_what_to_do(content: str) -> None:
    with pytest.raises(BoxesError, match="Export the labels for image classification"):
        identified("labels.csv", content)


def test_the_region_of_one_sign_is_no_box() -> None:
    """GTSRB names a region and a class for each image."""
    content = "Width,Height,Roi.X1,Roi.Y1,Roi.X2,Roi.Y2,ClassId,Path\n53,54,6,5,48,49,16,Test/0.png\n"
    assert labels_of("Test.csv", content) == {"Test/0.png": ["16"]}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "The file is empty"),
        ("\ufeff \n", "The file is empty"),
        ("what,ever\n1,2\n", "No column holds image files"),
        ("label,count\ncat,3\n", "must name a column “image”"),
        ("label,colour,key\ncat,1,c\n", "a list of labels"),
        (b"PK\x03\x04xlsx", "Save the table as CSV"),
        ("image,label\na.jpg," + "x" * 2_000_000, "longer than a million characters"),
        ('image,label\na.jpg,"' + "x\n" * 100_000, "cannot be read: field larger"),
    ],
)
def test_what_is_no_table_of_images_is_refused_with_a_sentence(content: str | bytes, sentence: str) -> None:
    with pytest.raises(LabelFileError, match=sentence):
        entries_of("labels.csv", content)


def test_an_escaped_formula_is_read_as_it_was() -> None:
    content = "image,labels\na.jpg,'=cat;'@dog\nb.jpg,'tis\n"
    assert labels_of("labels.csv", content) == {"a.jpg": ["=cat", "@dog"], "b.jpg": ["'tis"]}


@pytest.mark.parametrize(
    "content",
    [
        "Labels of 2024,,\n,,\nimage,label,who\na.jpg,cat,eva\nb.jpg,dog,eva\n",
        "# made by a tool, version 3\n# 2024\n\nimage;label\na.jpg;cat\n# later\nb.jpg;dog\n",
        "# a comment\nfilename,label\na.jpg,cat\nb.jpg,dog\n",
        "#filename,label\na.jpg,cat\nb.jpg,dog\n",
    ],
)
def test_titles_and_comments_above_the_head_are_no_rows(content: str) -> None:
    assert labels_of("labels.csv", content) == CAT_AND_DOG
    assert identified("labels.csv", content).is_certain


@pytest.mark.parametrize(
    "content",
    [
        ",image_path,target_name\n0,a.jpg,cat\n1,b.jpg,dog\n",
        ",image,Sorte\n0,a.jpg,cat\n1,b.jpg,dog\n",
        "image;cat;dog\na.jpg;x;\nb.jpg;;x\n",
        "image,pred_label,true_label\na.jpg,dog,cat\nb.jpg,dog,dog\n",
    ],
)
def test_the_column_of_labels_is_found(content: str) -> None:
    assert labels_of("labels.csv", content) == CAT_AND_DOG


def test_an_empty_cell_in_the_column_of_splits_is_no_split() -> None:
    content = "training,gs://b/a.jpg,cat\ntest,gs://b/b.jpg,dog\n,gs://b/c.jpg,cat\n"
    assert usages_of("v.csv", content) == {
        "gs://b/a.jpg": "TRAIN",
        "gs://b/b.jpg": "TEST",
        "gs://b/c.jpg": "",
    }
    assert labels_of("v.csv", content)["gs://b/a.jpg"] == ["cat"]


def test_unquoted_lists_missing_values_and_unseen_characters() -> None:
    content = "image,label\na.jpg,[cat]\nb.jpg,dog\u200b\nc.jpg,NaN\nd.jpg,\u00a0cat\n"
    assert labels_of("labels.csv", content) == {**CAT_AND_DOG, "c.jpg": [], "d.jpg": ["cat"]}


def test_chinese_words_name_the_splits() -> None:
    content = "图片,标签,数据集\na.jpg,猫,训练集\nb.jpg,狗,验证集\nc.jpg,猫,测试集\n"
    assert list(usages_of("标签.csv", content).values()) == ["TRAIN", "EVAL", "TEST"]
