"""Word stock for invented tools: everyday words in two languages, and made-up ones."""

from __future__ import annotations

import random
from functools import lru_cache
from string import ascii_lowercase

VERBS_EN = tuple(
    """
    find check count measure compare convert compute list look search read write sort split join round add divide
    multiply estimate schedule book order rent sell trade track weigh label translate encode decode reverse repeat
    replace remove format parse extract validate rank score plan reserve locate trace inspect report summarize describe
    name classify map route assign rotate scale mix brew bake paint tune test clean pack ship stack store open close
    start stop switch
    """.split()
)
NOUNS_EN = tuple(
    """
    price color weight length height width depth speed area volume size age rank score grade level rate ratio share
    total sum average median difference product power root angle distance route station platform gate seat room floor
    desk shelf box crate ticket order invoice receipt budget cost tax fee fare salary bonus balance account number code
    key token password name title author chapter page line word letter vowel syllable sentence paragraph text note memo
    message letterhead date day week month year hour minute second time zone season holiday birthday deadline schedule
    meeting phone extension email address street city country capital river lake mountain island planet moon star orbit
    element metal gas liquid mineral crystal animal bird fish insect tree flower leaf seed root fruit vegetable recipe
    dish spice sauce bread soup tea coffee juice drink bottle cup spoon plate table chair lamp door window wall roof
    garden farm field barn engine wheel brake motor battery cable socket switch sensor screen camera lens radio signal
    channel record song album band drum violin piano game team player coach match goal stage prize medal course lesson
    teacher student exam library book story poem map chart graph table figure shape circle square triangle cube sphere
    polygon temperature pressure humidity wind rain snow cloud storm tide wave current energy force mass density charge
    voltage frequency doctor nurse clinic dose pill test result sample blood heart lung bone muscle diet calorie vitamin
    member visitor guest host driver pilot captain crew passenger luggage parcel letterbox courier warehouse stock item
    part tool machine robot
    """.split()
)
ADJECTIVES_EN = tuple(
    """
    red blue green small large long short new old fast slow early late high low deep light heavy bright dark warm cold
    dry wet soft hard sharp round flat open closed public private local daily weekly monthly yearly first last next main
    total average maximum minimum current average annual spare hidden common rare special simple double single royal
    northern southern eastern western central digital manual
    """.split()
)
VERBS_ZH = tuple(
    """
    查询 计算 查找 统计 比较 转换 测量 搜索 读取 排序 预订 翻译 编码 反转 替换 删除 提取 检查 估算 安排 追踪 称量 描述
    分类 列出 换算 求出 获取 生成 判断 验证 合并 拆分 登记 租用 购买
    """.split()
)
NOUNS_ZH = tuple(
    """
    价格 颜色 重量 长度 高度 宽度 深度 速度 面积 体积 年龄 等级 分数 比例 总数 平均值 差值 乘积 角度 距离 路线 车站 站台
    座位 房间 楼层 书架 箱子 车票 订单 发票 预算 费用 税费 工资 余额 账号 号码 代码 密码 名称 作者 章节 页数 字数 句子
    文本 笔记 消息 日期 星期 月份 年份 时间 季节 节日 生日 期限 会议 电话 分机 邮箱 地址 城市 国家 首都 河流 湖泊 山脉
    岛屿 行星 卫星 元素 金属 气体 矿石 动物 鸟类 昆虫 树木 花朵 种子 水果 蔬菜 菜谱 调料 面包 茶叶 咖啡 饮料 瓶子 桌子
    椅子 窗户 花园 农场 发动机 电池 电缆 传感器 屏幕 相机 信号 频道 歌曲 专辑 乐队 比赛 球队 奖牌 课程 老师 学生 考试
    图书 故事 地图 图表 圆形 正方形 三角形 温度 气压 湿度 风速 能量 质量 密度 电压 频率 药品 剂量 样本 热量 会员 访客
    司机 船长 乘客 包裹 仓库 库存 零件 工具 机器
    """.split()
)
TYPES_OF_THING_EN = tuple(
    """
    item person city product book file device plant vehicle team office store project word sentence
    """.split()
)
TYPES_OF_THING_ZH = tuple(
    """
    物品 人员 城市 产品 图书 文件 设备 植物 车辆 球队 办公室 商店 项目 词语 句子
    """.split()
)

_ONSETS = """b bl br c ch cl d dr f fl g gl gr h j k l m n p ph pl pr qu r s sh sl sp st t th tr v w y z""".split()
_VOWELS = """a e i o u ai au ea ee ei ia io oa oo ou""".split()
_CODAS = ["", "", "", *"b ck d ff g k l ll m n nd ng nt p r rd rn s sh ss st t th x z".split()]

# What English words are made of, beginnings, middles and ends: so that whole written words hold pieces that no other list has.
_BEGINNINGS = """
ab ad al ante anti auto be bi by circum co com con contra counter de demi dis down em en ex extra for fore hyper il im in inter
ir mal mega micro mid mini mis mono multi neo non ob off omni on out over para per photo poly post pre pro proto pseudo re semi
sub super sur sym syn tele trans tri ultra un under uni up vice with
""".split()
_MIDDLES = """
act agri alph anim ann anthro aqua arch astr aud bell bene biblio bio blow board book born bound brief broth burn call cand cap
card carp cart cast caus cede ceed ceiv cent chance char chem chief chron cid cipher claim class clin clud cogn cord corp cosm
count cover cred cross crypt cult cur cycl dem dent dict doc dorm draw dream drop duct dynam earth equ erupt fact fall father
feast fer fess fest fict field fin firm flat flect flow form fort fract frag friend fruit fug full fund gather gen geo glad
gold good gram graph grat grav greg ground guard guess hand head hear heir herb holi host hum hydr ject journ judg junct jur
kind king knight know lab land lash laugh law lead leap lect leg length lett lib light lin liqu liter loc log loqu lumin lunch
magn main mand mark master mater mech med mem merc merge mid migr mind mit mob mount mov mut narr nat nav nect nerv night nom
norm nov nub numer nunci nutr ocean oper opt ord orn part pass past path patr ped pel pend pet phil phon photo phys plac plan
plaud plea plic plod ploy pol pon pop port pos pound prim prin priv prob prov psych pub puls pung quad quake quer quest quiet
rad rain rang rect reg rid right rog rupt salv sang sat scend school schem sci scop scrib script sect sed seg sens sent sequ
serv shadow sheep ship should sign simil sist smith soci sol solv son soph spec sphere spir spond sta star stell still stit
store straight strat string struct study suad sum sume sure tact tail tain tang teach techn temp tend tens terr test thank theor
therm thick think thought thunder tiss tone tort touch tract treat trib trick trop trust turb twist type urb vac vad vail val
van vent ver vert vict vid vis vit viv voc volt volv vor vow wander ward warm watch weather weight wheel whisper whole wild
wind wish wonder wood world wrest wright write wrong yard yield young zeal zoo
""".split()
_ENDINGS = """
able acity age al ally ance ancy ant ar ary ast ate ation ative bed dom ed ee eer el en ence ency ent er ern ery esque ess est
et ette ey ful hood ial ian ible ic ical ics ier ies ify ile ily ine ing ion ious ise ish ism ist ition itive ity ium ive ize
kin lence less let like ling logy ly man ment meter most ness nomy ocracy oid old ology or ory ose ous path phobia ple proof que
scope ship side sis some some sphere stead ster stone teen th ther tial tic tious tle tude ture ty ual uble ular ule um ure ward
way where wise work worth worthy y
""".split()


def patchwork(generator: random.Random) -> str:
    """Draw a word put together from what English words are made of."""
    stock = ((_BEGINNINGS, 0.5), (_MIDDLES, 1.0), (_MIDDLES, 0.3), (_ENDINGS, 0.6))
    return "".join(generator.choice(parts) for parts, share in stock if generator.random() < share)


def made_up_word(generator: random.Random) -> str:
    """Draw a word that means nothing: of syllables, of letters that follow each other in English words, or of any letters.

    The three look unlike each other to a tokenizer, so that a model that copies them copies words that it never saw.
    """
    style = generator.random()
    if style < 0.45:
        return _of_syllables(generator)
    if style < 0.85:
        return _like_english(generator)
    return "".join(generator.choice(ascii_lowercase) for _ in range(generator.randint(2, 7)))


def _of_syllables(generator: random.Random) -> str:
    syllables = generator.choices((1, 2, 3), (0.5, 0.42, 0.08))[0]
    return "".join(generator.choice(_ONSETS) + generator.choice(_VOWELS) + generator.choice(_CODAS) for _ in range(syllables))


def _like_english(generator: random.Random) -> str:
    """Walk from letter pair to next letter as the stock's own words do, 3 to 12 letters."""
    while True:
        word = ""
        while (letter := generator.choice(_followers()["^" + word if len(word) < 2 else word[-2:]])) != "$":
            word += letter
            if len(word) > 12:
                break
        if 3 <= len(word) <= 12:
            return word


@lru_cache(maxsize=1)
def _followers() -> dict[str, str]:
    """Which letters follow a pair of letters (``^`` begins a word, ``$`` ends one), as often as they do."""
    found: dict[str, str] = {}
    for word in (*VERBS_EN, *NOUNS_EN, *ADJECTIVES_EN, *TALK_EN):
        for place, letter in enumerate(word + "$"):
            before = "^" + word[:place] if place < 2 else word[place - 2 : place]
            found[before] = found.get(before, "") + letter
    return found


@lru_cache(maxsize=1)
def hanzi() -> str:
    """Give the 3,755 common characters of GB 2312's first level, in the standard's order."""
    codes = (bytes((row, cell)) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF))
    return "".join(code.decode("gb2312", "ignore") for code in codes)


# Everyday characters, which made-up Chinese words prefer: a tokenizer that learns from them gives each its own token.
COMMON_HANZI = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事"
    "成方多经么去法学如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此"
    "已工使情明性知全三又关点正业外将两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代"
    "内信表化老给世位次度门任常先海通教儿原东声提立及比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安"
    "少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统区保至队形社便空决治展马科司五基眼书非则听白却界达光"
    "放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共确传师观清今切院让识候带导争运笔调用"
    "外部具助包括请遵循格复考步骤需否称必须选择输参返按照答案终最始查询换算找称写读词句字母顺序反转替删除提检估排追描述列"
    "获取判断验证合并拆登记购买价钱颜重宽深速积龄级例均差乘角距离线站台座房楼层架箱票单据费税资余额号码密章节页笔消息星周"
    "季夏冬春秋假议机邮址城首都河流湖泊岛屿卫元素属体矿石鸟虫花朵种果蔬菜谱料茶咖啡饮瓶桌椅窗户园农池缆感器屏幕频歌曲专辑"
    "乐比赛球奖牌课考试故图形圆三温压湿风能质度药剂样热员访客船长乘包裹仓库存零件"
)


def made_up_hanzi(generator: random.Random, low: int = 2, high: int = 4) -> str:
    """Draw a few characters that mean nothing together, mostly everyday ones."""
    size = generator.randint(low, high)
    return "".join(generator.choice(COMMON_HANZI if generator.random() < 0.75 else hanzi()) for _ in range(size))


# Plain vocabulary for talk: so that ordinary words are whole tokens that the model has seen.
TALK_EN = tuple(
    """
    you are a the an assistant who can use utilize external tools tool to please following format think what need solve
    do should be one of name action input answer thought response final results result after call using if already know
    not process get begin give directly based on history information now right again true false string number array
    object parameter description required type value unit text yes no none missing wrong unknown did mean today first
    second next then there here this that it is was were will would must may with without from for in at by about into
    over under between because so very much many more most less few some any all every each other another same good bad
    big little old young help want like make take go come see look say tell ask work play run walk eat sleep live love
    home school
    """.split()
)
